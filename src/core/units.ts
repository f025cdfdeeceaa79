/**
 * Numbers and texts that are alike to the compiler and not to us. A name that is given to one here cannot stand for another: the time
 * of `clock.wall()` is refused where that of `clock.now()` is asked for. A plain number or text is taken for either, so that sums need
 * no conversion. Types alone: nothing of this runs.
 */
declare const unit: unique symbol;

export type Named<T, Name extends string> = T & { readonly [unit]?: Name };

/** A time of `clock.now()`, in milliseconds: for measuring, of use in this process alone. */
export type MonotonicMs = Named<number, "monotonic milliseconds">;
/** A time of `clock.wall()`, in milliseconds since the Unix epoch: for showing, for expiry dates, and for other machines. */
export type WallMs = Named<number, "wall milliseconds">;
/** An amount of data or of memory. */
export type Bytes = Named<number, "bytes">;
/** "orders.shop:80", by `serviceKey` of `mesh/service-key.ts`. */
export type ServiceKey = Named<string, "service key">;
/** "spiffe://cluster.local/ns/shop/sa/web", by `formatSpiffeUri` or from a verified certificate. */
export type SpiffeUri = Named<string, "SPIFFE ID">;
