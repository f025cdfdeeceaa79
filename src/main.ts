/** argv → command; the only place that ends the process. */
import { run } from "./cli/run.ts";

process.exitCode = await run(process.argv.slice(2), (code) => {
  process.exit(code);
});
