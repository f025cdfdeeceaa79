/** A validator that is ready is compiled: the first resource of its kind that a push brings costs no more than the next one. */
import { getHeapCodeStatistics } from "node:v8";
import t from "tap";
import { atOnce } from "../../src/core/slices.ts";
import { KINDS } from "../../src/resources/registry.ts";
import { prepareValidators, validate } from "../../src/resources/validate.ts";

/** Bytes of compiled code that the first resources of all kinds add. */
function addedByFirst(): number {
  const before = getHeapCodeStatistics().bytecode_and_metadata_size;
  for (const { apiVersion, kind } of KINDS) {
    const { ok } = validate({ apiVersion, kind });
    t.notOk(ok, `${kind} lacks its spec`);
  }
  return getHeapCodeStatistics().bytecode_and_metadata_size - before;
}

void t.test("nothing is left to compile for a first resource", (t) => {
  atOnce(prepareValidators());
  const added = addedByFirst();
  // What is made of their errors is compiled, too, with the first of them.
  t.ok(added < 100_000, `${added} bytes were compiled`);
  t.end();
});
