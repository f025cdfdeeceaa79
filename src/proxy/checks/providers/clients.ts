/** The open clients of providers: one for each as it is defined, made ahead, and closed once no config in force has it. */
import type { Clock } from "../../../core/clock.ts";
import type { Watch } from "../../../core/watch.ts";
import type { Snapshot } from "../../../policy/snapshot.ts";
import type { Provider } from "../../../resources/mesh/providers.ts";
import type { ProviderClient } from "./answer.ts";
import { grpcProvider } from "./grpc-provider.ts";
import { httpProvider } from "./http-provider.ts";

export class ProviderClients {
  readonly #open = new Map<string, ProviderClient>();
  /** Its key in `#open`, so that a request does not write its provider out: with a trust bundle it is long. */
  readonly #keys = new WeakMap<Provider, string>();
  readonly #clock: Clock;
  readonly #leave: () => void;

  constructor(snapshot: Watch<Snapshot | undefined>, clock: Clock) {
    this.#clock = clock;
    this.#leave = snapshot.subscribe((value) => {
      if (value !== undefined) this.#apply(value);
    });
    if (snapshot.value !== undefined) this.#apply(snapshot.value);
  }

  of(provider: Provider): ProviderClient {
    return (
      this.#open.get(this.#keyOf(provider)) ?? briefly(provider, this.#clock)
    );
  }

  close(): void {
    this.#leave();
    for (const client of this.#open.values()) client.close();
    this.#open.clear();
  }

  #apply({ mesh, inbound }: Snapshot): void {
    const named = new Set(
      inbound.ports.flatMap(({ custom }) => custom?.providers ?? []),
    );
    const providers = mesh.authorization.providers.filter(({ name }) =>
      named.has(name),
    );
    const keys = new Set(providers.map((each) => this.#keyOf(each)));
    for (const [key, client] of this.#open)
      if (!keys.has(key)) {
        client.close();
        this.#open.delete(key);
      }
    // What a client needs is loaded before the first request would have to wait for it.
    for (const provider of providers) {
      const key = this.#keyOf(provider);
      if (!this.#open.has(key))
        this.#open.set(key, open(provider, this.#clock));
    }
  }

  #keyOf(provider: Provider): string {
    let key = this.#keys.get(provider);
    if (key === undefined) {
      key = JSON.stringify(provider);
      this.#keys.set(provider, key);
    }
    return key;
  }
}

function open(provider: Provider, clock: Clock): ProviderClient {
  const { server } = provider;
  return server.kind === "http"
    ? httpProvider(provider, server)
    : grpcProvider(provider, server, clock);
}

/** For a request of a config that is no longer in force: open as long as it asks, since no later config would close it. */
function briefly(provider: Provider, clock: Clock): ProviderClient {
  return {
    ask(asked, done) {
      const client = open(provider, clock);
      const asking = client.ask(asked, (answer) => {
        client.close();
        done(answer);
      });
      return {
        ...asking,
        cancel() {
          asking.cancel();
          client.close();
        },
      };
    },
    close: () => undefined,
  };
}
