// Draws portraits: reads {"core", "style", "count"} from its first argument, the paths of two DiceBear packages and how
// many seeds to try, and writes one JSON line per portrait: its SVG and the attributes that the seed chose.
import { pathToFileURL } from "node:url";

const { core, style, count } = JSON.parse(process.argv[2]);
const { createAvatar } = await import(pathToFileURL(core));
const collection = await import(pathToFileURL(style));
for (let seed = 0; seed < count; seed += 1) {
  const { svg, extra } = createAvatar(collection, { seed: String(seed) }).toJson();
  process.stdout.write(JSON.stringify({ svg, extra }) + "\n");
}
