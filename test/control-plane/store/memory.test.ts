/** The memory store keeps the contract. */
import t from "tap";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import { storeContract } from "../../support/control-plane/store-contract.ts";

storeContract(t, "memory store", ({ clock, history, audit }) =>
  Promise.resolve(
    openMemoryStore({
      clock,
      ...(history === undefined ? {} : { history }),
      ...(audit === undefined ? {} : { audit }),
    }),
  ),
);
