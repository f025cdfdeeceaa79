#!/usr/bin/env node
// The command `wherry` of a checkout: hands over to the bundle or to main.ts, on the Node that the project pins.
import { join } from "node:path";
import { findBundle, makeBundle } from "./bundle.js";
import { become, install, root, runtime, say } from "./launch.js";

await install();
const args = process.argv.slice(2);
// Without it SIGUSR1 opens a debugger to every user of the machine (runtime/node-flags.ts says why `wait` goes without).
const flags = args[0] === "wait" ? [] : ["--disable-sigusr1"];
become(runtime(), [...flags, ...program(args[0]), ...args]);

/** What Node is given to run a command. `wherry dev` starts twenty processes, and so is worth a bundle; the others run from that. */
function program(command) {
  try {
    const bundle =
      command === "dev" ? makeBundle(root, runtime(), say) : findBundle(root);
    if (bundle !== undefined) return [bundle];
  } catch (error) {
    say(`the source runs without being bundled: ${error.message}`);
  }
  return [
    "--disable-warning=ExperimentalWarning",
    join(root, "src", "main.ts"),
  ];
}
