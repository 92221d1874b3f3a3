import createClient from "openapi-fetch";

/** Return a client of the API at `url`, what comes before `/api` or `/v3`, for one key. */
export const connect = (url, key) => createClient({ baseUrl: url, headers: { "X-API-Key": key } });
