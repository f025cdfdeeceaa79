/** What schemathesis, a property-based tester of APIs, is told of this one. */
import { randomInt } from "node:crypto";
import { KINDS } from "../../../src/resources/registry.ts";
import { drawn } from "../drawn.ts";

/** Kinds of which the tool enumerates requests: some, and others of the rest in each run. The same code serves the operations of all. */
const ALWAYS: ReadonlySet<string> = new Set(["Mesh", "Service"]);
const DRAWN = drawn("WHERRY_SCHEMATHESIS_KINDS", 1, KINDS.length);

/**
 * Most names are fixed, so that requests meet resources that exist. A watch without an end would be taken for a hung
 * request: each ends after a second. Of writes of resources the tool enumerates thousands of combinations of optional fields:
 * it draws from them at random instead. Of most kinds it draws all.
 */
export function schemathesisConfig(token: string, storeId: string): string {
  const some = othersThan(DRAWN).join("|");
  return `
[auth.openapi.token]
bearer = ${JSON.stringify(token)}

[dictionaries]
namespace = { values = ["shop"] }
name = { values = ["orders"] }
mesh = { values = ["default"] }
store = { values = [${JSON.stringify(storeId)}] }

[parameters]
"path.namespace" = { dictionary = "namespace", probability = 0.8 }
"path.name" = { dictionary = "name", probability = 0.8 }
"body.metadata.namespace" = { dictionary = "namespace", probability = 0.8 }
"body.metadata.name" = { dictionary = "name", probability = 0.8 }

[[operations]]
include-operation-id-regex = "^list(?!(${some})(InAllNamespaces)?$)[A-Z]"
parameters = { "query.timeoutSeconds" = "1" }

[[operations]]
include-operation-id-regex = "^list(${some})(InAllNamespaces)?$"
parameters = { "query.timeoutSeconds" = "1" }
phases = { coverage = { enabled = false } }

[[operations]]
include-operation-id-regex = "^(create|replace|apply)(?!.*Token)"
phases = { coverage = { enabled = false } }

[[operations]]
include-operation-id-regex = "^(get|patch|delete)(${some})$"
phases = { coverage = { enabled = false } }

[[operations]]
include-operation-id-regex = "^(get|patch|delete)Mesh$"
parameters = { "path.name" = { dictionary = "mesh", probability = 0.8 } }

[[operations]]
include-operation-id = "acceptStore"
parameters = { "body.id" = { dictionary = "store", probability = 0.5 } }
`;
}

/** The kinds that are left when so many are drawn besides those that are always there. */
function othersThan(count: number): readonly string[] {
  const left = KINDS.map(({ kind }) => kind).filter(
    (kind) => !ALWAYS.has(kind),
  );
  for (let taken = 0; taken < count && left.length > 0; taken += 1)
    left.splice(randomInt(left.length), 1);
  return left;
}
