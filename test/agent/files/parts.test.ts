/** What is kept of a document is what it says, not its text. */
import t from "tap";
import {
  cutText,
  readParts,
  type FilePart,
} from "../../../src/agent/files/parts.ts";
import { atOnce } from "../../../src/core/slices.ts";
import { collectGarbage } from "../../../src/runtime/v8.ts";

/** Bytes. */
const COMMENT = 256 * 1024;
const DOCUMENTS = 40;

void t.test("no text of a document stays in memory", (t) => {
  const kept: (readonly FilePart[])[] = [];
  const read = (index: number): void => {
    const text = Buffer.from(`# ${"x".repeat(COMMENT)}
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata:
  name: a-service-with-a-long-name-${index}
  namespace: a-namespace-with-a-long-name
spec:
  ports:
    - port: 80
  selector:
    app: an-application-with-a-long-name
`);
    const cuts = atOnce(cutText(text));
    kept.push(atOnce(readParts("f", text, cuts, new Map(), new Map())));
  };
  read(0);
  collectGarbage({ type: "major" });
  const before = process.memoryUsage().heapUsed;
  for (let index = 1; index <= DOCUMENTS; index += 1) read(index);
  collectGarbage({ type: "major" });
  const grown = process.memoryUsage().heapUsed - before;
  const entries = kept.flat().flatMap(({ content }) => content.entries);
  t.equal(entries.length, DOCUMENTS + 1);
  t.ok(
    grown < (DOCUMENTS * COMMENT) / 4,
    `${DOCUMENTS} documents left ${grown} bytes`,
  );
  t.end();
});
