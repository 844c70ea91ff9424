"""The 64 emoji of a short authentication string (spec: SAS method: emoji; data-definitions/sas-emoji.json)."""

from __future__ import annotations

from typing import Final, NamedTuple


class Emoji(NamedTuple):
    """One of the seven that people compare."""

    symbol: str
    """One character, and for some a second that asks for its coloured form."""
    name: str
    """In English. Translations are looked up by the emoji's number, its place in `EMOJI`."""


EMOJI: Final = (
    Emoji("🐶", "Dog"),
    Emoji("🐱", "Cat"),
    Emoji("🦁", "Lion"),
    Emoji("🐎", "Horse"),
    Emoji("🦄", "Unicorn"),
    Emoji("🐷", "Pig"),
    Emoji("🐘", "Elephant"),
    Emoji("🐰", "Rabbit"),
    Emoji("🐼", "Panda"),
    Emoji("🐓", "Rooster"),
    Emoji("🐧", "Penguin"),
    Emoji("🐢", "Turtle"),
    Emoji("🐟", "Fish"),
    Emoji("🐙", "Octopus"),
    Emoji("🦋", "Butterfly"),
    Emoji("🌷", "Flower"),
    Emoji("🌳", "Tree"),
    Emoji("🌵", "Cactus"),
    Emoji("🍄", "Mushroom"),
    Emoji("🌏", "Globe"),
    Emoji("🌙", "Moon"),
    Emoji("☁️", "Cloud"),
    Emoji("🔥", "Fire"),
    Emoji("🍌", "Banana"),
    Emoji("🍎", "Apple"),
    Emoji("🍓", "Strawberry"),
    Emoji("🌽", "Corn"),
    Emoji("🍕", "Pizza"),
    Emoji("🎂", "Cake"),
    Emoji("❤️", "Heart"),
    Emoji("😀", "Smiley"),
    Emoji("🤖", "Robot"),
    Emoji("🎩", "Hat"),
    Emoji("👓", "Glasses"),
    Emoji("🔧", "Spanner"),
    Emoji("🎅", "Santa"),
    Emoji("👍", "Thumbs Up"),
    Emoji("☂️", "Umbrella"),
    Emoji("⌛", "Hourglass"),
    Emoji("⏰", "Clock"),
    Emoji("🎁", "Gift"),
    Emoji("💡", "Light Bulb"),
    Emoji("📕", "Book"),
    Emoji("✏️", "Pencil"),
    Emoji("📎", "Paperclip"),
    Emoji("✂️", "Scissors"),
    Emoji("🔒", "Lock"),
    Emoji("🔑", "Key"),
    Emoji("🔨", "Hammer"),
    Emoji("☎️", "Telephone"),
    Emoji("🏁", "Flag"),
    Emoji("🚂", "Train"),
    Emoji("🚲", "Bicycle"),
    Emoji("✈️", "Aeroplane"),
    Emoji("🚀", "Rocket"),
    Emoji("🏆", "Trophy"),
    Emoji("⚽", "Ball"),
    Emoji("🎸", "Guitar"),
    Emoji("🎺", "Trumpet"),
    Emoji("🔔", "Bell"),
    Emoji("⚓", "Anchor"),
    Emoji("🎧", "Headphones"),
    Emoji("📁", "Folder"),
    Emoji("📌", "Pin"),
)
"""By their numbers, 0 to 63."""
