/** grpc-js, as a module of our own that is loaded late: as `undici.ts` has it, a bundle would give a late import of it no names. */
export { ChannelCredentials, Client } from "@grpc/grpc-js";
