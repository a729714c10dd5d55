/** The client library, `vmferry/client`: what the command line itself uses to talk to agents. */

export { AgentClient } from './agent-client.js';
export type { AccessOptions } from './agent-connection.js';
export { followMigration, type FollowOptions } from './follow-migration.js';
export type * from '../shared/api.js';
export type * from '../shared/api/doctor.js';
export type { GuestDefinition } from '../shared/guest-definition.js';
export { ERROR_CODES, MigrationError, type ErrorBody, type ErrorCode } from '../shared/errors.js';
