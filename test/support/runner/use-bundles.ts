/** Loaded before a test file: some packages are the bundled ones. */
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { BUNDLES } from "./bundle-files.ts";

registerHooks({
  resolve(specifier, context, next) {
    const file = BUNDLES.get(specifier);
    if (file === undefined) return next(specifier, context);
    const { href: url } = pathToFileURL(file);
    return { url, format: "module", shortCircuit: true };
  },
});
