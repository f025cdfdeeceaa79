/** Which items of a list may be written: a namespace is taken as a whole or not at all, and judged as if what is taken were there. */
import type { Pause } from "../../../core/slices.ts";
import {
  formatKey,
  keyOf,
  type Resource,
} from "../../../resources/envelope.ts";
import { isError } from "../../../resources/problems.ts";
import { ConflictError } from "../../store/store.ts";
import { revisionOf } from "../../store/write.ts";
import type { Principal } from "../../tokens.ts";
import type { Cause } from "../errors.ts";
import type { ApiOptions } from "../options.ts";
import { writeRefusal } from "../rights/write-rights.ts";
import {
  causeAt,
  fieldAt,
  type Fault,
  type Head,
  type Item,
  type SoundItem,
} from "./list.ts";

export interface Judgement {
  /** What is wrong with items, by their index. */
  readonly faults: ReadonlyMap<number, Fault>;
  /** Those that may be written: nothing is wrong in their namespaces. */
  readonly accepted: readonly Accepted[];
  readonly warnings: readonly Cause[];
}

export interface Accepted {
  readonly item: SoundItem;
  /** What is there now. */
  readonly before: Resource | undefined;
}

/** Times that the rest of a list is judged again because what it was judged with is refused. */
const MOST_ROUNDS = 8;

export interface JudgeOptions extends Pick<
  ApiOptions,
  "store" | "isLeased" | "checkInPlace"
> {
  readonly principal: Principal;
  /** Nothing is accepted where anything is wrong. */
  readonly atomic: boolean;
  readonly pause: Pause;
}

export async function judge(
  items: readonly Item[],
  options: JudgeOptions,
): Promise<Judgement> {
  const faults = new Map<number, Fault>();
  const refused = new Set<string>();
  const refuse = ({ index, namespace }: Item, fault: Fault): void => {
    faults.set(index, fault);
    refused.add(namespace);
  };
  for (const item of items)
    if (item.fault !== undefined) refuse(item, item.fault);
  let left = await readCurrent(items, options, refuse);
  const isRefused = ({ item }: Accepted): boolean =>
    options.atomic ? refused.size > 0 : refused.has(item.namespace);
  // The first time all are judged, so that everything that is wrong is reported at once.
  for (let round = 1; ; round += 1) {
    const warnings = await judgeTogether(left, options, refuse);
    const stays = left.filter((each) => !isRefused(each));
    if (stays.length === left.length || stays.length === 0)
      return { faults, accepted: stays, warnings };
    left = stays;
    if (round === MOST_ROUNDS)
      for (const { item } of left.splice(0))
        refuse(item, {
          reason: "Invalid",
          causes: [
            {
              field: fieldAt(item.index, ""),
              message:
                "cannot be judged, for too many namespaces of the list depend on refused ones: apply fewer at a time",
            },
          ],
        });
  }
}

type Refuse = (item: Item, fault: Fault) => void;

/** What is there of each, whether the principal may replace it, and whether it is what the writer has read. */
async function readCurrent(
  items: readonly Item[],
  options: JudgeOptions,
  refuse: Refuse,
): Promise<Accepted[]> {
  const { store, principal, pause } = options;
  const readable: Accepted[] = [];
  for (const item of items) {
    if (item.fault !== undefined) continue;
    const { index, resource, stated } = item;
    const key = keyOf(resource);
    const before = await store.get(key);
    const why = writeRefusal(options, principal, resource, before);
    if (why !== undefined)
      refuse(item, {
        reason: "Forbidden",
        causes: [{ field: fieldAt(index, ""), message: why }],
      });
    // What is not there is made, whatever version it had when it was read.
    else if (
      before !== undefined &&
      stated !== undefined &&
      stated !== revisionOf(before)
    )
      refuse(item, {
        reason: "Conflict",
        causes: [
          {
            field: fieldAt(index, "metadata.resourceVersion"),
            message: new ConflictError(key, stated, revisionOf(before)).message,
          },
        ],
      });
    else readable.push({ item, before });
    await pause();
  }
  return readable;
}

/** Judges the items as if all of them were written, and gives what to warn of. */
async function judgeTogether(
  accepted: readonly Accepted[],
  { checkInPlace, pause }: JudgeOptions,
  refuse: Refuse,
): Promise<readonly Cause[]> {
  const found = await checkInPlace(accepted.map(({ item }) => item.resource));
  const warnings: Cause[] = [];
  for (const [at, { item }] of accepted.entries()) {
    const problems = [...item.warnings, ...(found[at] ?? [])];
    const errors = problems.filter(isError);
    const cause = causeAt(item.index);
    if (errors.length > 0)
      refuse(item, { reason: "Invalid", causes: errors.map(cause) });
    else warnings.push(...problems.map(cause));
    await pause();
  }
  return warnings;
}

/** "Service shop/orders", or what the item says of itself. */
export function titleOf(item: Head): string {
  const { kind = "resource", namespace, name = "without a name" } = item;
  return formatKey({ kind, namespace, name });
}
