// A graph in Graphviz's language comes in, and its drawing goes out, as an SVG element for a page.
import { readFileSync } from "node:fs";
import { instance } from "@viz-js/viz";

const viz = await instance();
process.stdout.write(viz.renderString(readFileSync(0, "utf8"), { format: "svg_inline" }));
