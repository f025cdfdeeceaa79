// `npm run bench`: hands over to main.ts on the Node that the project pins.
import { join } from "node:path";
import { become, install, root, runtime } from "../src/launch.js";

await install();
become(runtime(), [
  "--disable-warning=ExperimentalWarning",
  join(root, "bench", "main.ts"),
  ...process.argv.slice(2),
]);
