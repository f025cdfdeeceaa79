/** What the caller's sidecar of a pair says of the cluster that it calls. */
import type {
  ClustersView,
  ClusterView,
} from "../../../src/sidecar/workers/views.ts";
import { send, type Pair } from "./pair.ts";

/** The first of its clusters; undefined before the first call. */
export async function clusterOf({
  caller,
}: Pair): Promise<ClusterView | undefined> {
  const { text } = await send(caller.ports.admin ?? 0, {
    path: "/clusters",
    host: "127.0.0.1",
  });
  return (JSON.parse(text) as ClustersView).clusters[0];
}
