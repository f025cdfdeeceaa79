/** The digest of the program is that of its code. */
import { createHash } from "node:crypto";
import t from "tap";
import { programDigest } from "../../src/runtime/package.ts";

void t.test("the same code has the same digest", async (t) => {
  const digest = await programDigest();
  t.match(digest, /^[0-9a-f]{64}$/);
  t.equal(await programDigest(), digest);
  t.not(digest, createHash("sha256").digest("hex"));
});
