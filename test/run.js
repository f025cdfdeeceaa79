// `npm test`, `npm run test:fast` and `npm run lint`: hands over to main.ts on the Node that the project pins.
import { join } from "node:path";
import { become, install, root, runtime } from "../src/launch.js";

await install();
become(runtime(), [
  join(root, "test", "support", "runner", "main.ts"),
  ...process.argv.slice(2),
]);
