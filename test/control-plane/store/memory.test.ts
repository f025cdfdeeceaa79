/** The memory store keeps the contract. */
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import { storeContract } from "../../support/store-contract.ts";

storeContract("memory store", ({ clock, history }) =>
  Promise.resolve(
    openMemoryStore({ clock, ...(history === undefined ? {} : { history }) }),
  ),
);
