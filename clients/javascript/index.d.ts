import type { Client } from "openapi-fetch";
import type { components, paths } from "./api.d.ts";

export type { components, paths };

/** Return a client of the API at `url`, what comes before `/api` or `/v3`, for one key. */
export function connect(url: string, key: string): Client<paths>;
