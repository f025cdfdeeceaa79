/** The open clients of providers: one for each as it is defined, made ahead, and closed once no config in force has it. */
import type { Watch } from "../../../core/watch.ts";
import type { Snapshot } from "../../../policy/snapshot.ts";
import type { Provider } from "../../../resources/mesh/providers.ts";
import type { ProviderClient } from "./answer.ts";
import { grpcProvider } from "./grpc-provider.ts";
import { httpProvider } from "./http-provider.ts";

export class ProviderClients {
  readonly #open = new Map<string, ProviderClient>();
  readonly #leave: () => void;

  constructor(snapshot: Watch<Snapshot | undefined>) {
    this.#leave = snapshot.subscribe((value) => {
      if (value !== undefined) this.#apply(value);
    });
    if (snapshot.value !== undefined) this.#apply(snapshot.value);
  }

  of(provider: Provider): ProviderClient {
    const key = JSON.stringify(provider);
    let client = this.#open.get(key);
    if (client === undefined) {
      const { server } = provider;
      client =
        server.kind === "http"
          ? httpProvider(provider, server)
          : grpcProvider(provider, server);
      this.#open.set(key, client);
    }
    return client;
  }

  close(): void {
    this.#leave();
    for (const client of this.#open.values()) client.close();
    this.#open.clear();
  }

  /** Requests that began with an earlier config open what they need again. */
  #apply({ mesh, inbound }: Snapshot): void {
    const named = new Set(
      inbound.ports.flatMap(({ custom }) => custom?.providers ?? []),
    );
    const providers = mesh.authorization.providers.filter(({ name }) =>
      named.has(name),
    );
    const keys = new Set(providers.map((each) => JSON.stringify(each)));
    for (const [key, client] of this.#open)
      if (!keys.has(key)) {
        client.close();
        this.#open.delete(key);
      }
    // What a client needs is loaded before the first request would have to wait for it.
    for (const provider of providers) this.of(provider);
  }
}
