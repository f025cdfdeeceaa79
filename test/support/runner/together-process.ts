/** A process of several test files, one after the other: each is a part of tap's test. What each has counted is written to descriptor 3. */
import { writeSync } from "node:fs";
import { registerHooks } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parts } from "./parts.ts";

const OWN_TAP = import.meta.resolve("./own-tap.ts");

// tap makes names of folders out of them.
const [program = "", ...files] = process.argv.splice(1);
const { default: t } = await import("tap");
process.argv.push(program);

registerHooks({
  resolve(specifier, context, next) {
    const { parentURL = "" } = context;
    if (specifier !== "tap" || !parts.has(parentURL))
      return next(specifier, context);
    return next(`${OWN_TAP}?${encodeURIComponent(parentURL)}`, context);
  },
});

/** Where each of them begins: tap's testdir() goes elsewhere when it removes a folder that is not below it. */
const folder = process.cwd();
/** Milliseconds that each of them may take; all together may take as long as they need. */
const timeout = 1000 * Number(process.env["TAP_TIMEOUT"]);
t.setTimeout(0);
for (const file of files) {
  const { href } = pathToFileURL(resolve(file));
  void t.test(file, { timeout }, async (part) => {
    const begun = performance.now();
    process.chdir(folder);
    parts.set(href, part);
    part.teardown(() => {
      const { pass, fail, skip, todo } = part.counts;
      const counts = { passed: pass, failed: fail, skipped: skip + todo };
      const time = performance.now() - begun;
      writeSync(3, `${JSON.stringify({ file, counts, time })}\n`);
    });
    await import(href);
  });
}
