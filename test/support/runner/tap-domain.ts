/**
 * In place of async-hook-domain in the bundle of tap: finds the test whose callback or promise failed.
 * Node keeps the context of each by itself. The package follows every promise by a hook, which costs more than many tests do.
 */
import {
  AsyncLocalStorage,
  AsyncResource,
  executionAsyncResource,
} from "node:async_hooks";

type OnError = (error: unknown, origin: string) => void;

const domains = new AsyncLocalStorage<Domain>();

/** What begins in the resource that runs belongs to the domain, until that is destroyed: then to the domain around it. */
export class Domain {
  readonly onerror: OnError;
  readonly parent: Domain | undefined = domains.getStore();
  isDestroyed = false;

  constructor(onerror: OnError) {
    this.onerror = onerror;
    domains.enterWith(this);
    const resource = executionAsyncResource();
    // A test has one, in which all of its parts run.
    if (resource instanceof AsyncResource) this.#keep(resource);
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  #keep(resource: AsyncResource): void {
    const run = resource.runInAsyncScope.bind(resource);
    resource.runInAsyncScope = (part, self, ...args) =>
      run(() => domains.run(this, () => part.apply(self as never, args)));
  }
}

process.on("uncaughtExceptionMonitor", (error, origin) => {
  // Who listens deals with it.
  if (process.listenerCount("uncaughtException") > 0) return;
  if (process.hasUncaughtExceptionCaptureCallback()) return;
  let domain = domains.getStore();
  while (domain?.isDestroyed === true) domain = domain.parent;
  if (domain === undefined) return;
  domain.onerror(error, origin);
  // Else Node would end the process.
  process.setUncaughtExceptionCaptureCallback(() =>
    process.setUncaughtExceptionCaptureCallback(null),
  );
});
