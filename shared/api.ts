/**
 * The HTTP API, version 1: what requests must look like and what answers are. Paths are under /v1. Requests are checked against these
 * schemas, the types of both come from them, and so does the OpenAPI document (agent/api/openapi/), which has their descriptions.
 */

export * from './api/exit-codes.js';
export * from './api/fields.js';
export * from './api/guests.js';
export * from './api/link-test.js';
export * from './api/migration-request.js';
export * from './api/migrations.js';
export * from './api/node.js';
