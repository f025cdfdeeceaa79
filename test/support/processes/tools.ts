/** The real components that tests talk to: where they are, or that a test has to do without. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** A program in $WHERRY_TOOLS or on the path. */
export function findTool(name: string): string | undefined {
  const folders = [
    process.env["WHERRY_TOOLS"] ?? "",
    ...(process.env["PATH"] ?? "").split(":"),
    "/usr/sbin",
    "/sbin",
  ];
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file));
}

/**
 * Options that skip a test, with one line that says why, where something is missing; under WHERRY_REQUIRE=all the test runs
 * and fails instead, so that nothing goes untested where it was promised. WHERRY_LACKS names what this machine cannot be given.
 */
export function needs(missing: readonly string[]): { readonly skip?: string } {
  const lacks = process.env["WHERRY_LACKS"]?.split(",") ?? [];
  const isRequired =
    process.env["WHERRY_REQUIRE"] === "all" &&
    missing.some((each) => !lacks.includes(each));
  if (missing.length === 0 || isRequired) return {};
  return { skip: `not here: ${missing.join(", ")}` };
}
