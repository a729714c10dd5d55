import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MigrationIdSchema, NameSchema } from '../../shared/names.js';
import { CountTextSchema } from '../../shared/api.js';
import { validate } from '../../shared/validate.js';

export const GuestPathSchema = z.object({ name: NameSchema });
export const MigrationPathSchema = z.object({ id: MigrationIdSchema });
export const LastEventIdSchema = z.object({
  'last-event-id': CountTextSchema.describe('Id of the last event that has been seen.').optional(),
});

/** The guest that the path names. Throws invalid-request. */
export function guestName(request: FastifyRequest): string {
  return validate(GuestPathSchema, request.params, 'invalid-request', 'the path').name;
}

/** The migration that the path names. Throws invalid-request. */
export function migrationId(request: FastifyRequest): string {
  return validate(MigrationPathSchema, request.params, 'invalid-request', 'the path').id;
}

/** What a client that reconnects to an event stream has seen last; undefined if it is new. Throws invalid-request. */
export function lastEventId(request: FastifyRequest): number | undefined {
  const header = request.headers['last-event-id'];
  if (header === undefined) return undefined;
  return validate(CountTextSchema, header, 'invalid-request', 'the header Last-Event-ID');
}
