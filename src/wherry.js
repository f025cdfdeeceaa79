#!/usr/bin/env node
// The command `wherry`: hands over to main.ts on the Node that the project pins.
import { join } from "node:path";
import { become, install, root, runtime } from "./launch.js";

await install();
become(runtime(), [
  "--disable-warning=ExperimentalWarning",
  join(root, "src", "main.ts"),
  ...process.argv.slice(2),
]);
