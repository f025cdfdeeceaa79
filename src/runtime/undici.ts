/**
 * undici, as a module of our own that is loaded late, where a call is made: a bundle gives a late import of a CommonJS package its
 * default export and no names.
 */
export { Agent, buildConnector, Client, Pool, request } from "undici";
