/** What every store must do, run against each of them. */
import type { Test } from "tap";
import { auditContract } from "./store-contract/audit.ts";
import type { OpenStore } from "./store-contract/fixtures.ts";
import { notesContract } from "./store-contract/notes.ts";
import { resourcesContract } from "./store-contract/resources.ts";
import { transactionsContract } from "./store-contract/transactions.ts";
import { watchesContract } from "./store-contract/watches.ts";

export function storeContract(t: Test, name: string, open: OpenStore): void {
  void t.test(name, (t) => {
    resourcesContract(t, open);
    watchesContract(t, open);
    transactionsContract(t, open);
    notesContract(t, open);
    auditContract(t, open);
    t.end();
  });
}
