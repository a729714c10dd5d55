import type { FastifyInstance } from 'fastify';
import {
  ChangeMigrationSchema,
  type HistoryEntry,
  LinkTestSchema,
  type LinkTestResult,
  StartMigrationSchema,
  type MigrationEvent,
  type MigrationInfo,
  type MigrationRequest,
  type PreflightReport,
} from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { validate } from '../../shared/validate.js';
import { answer } from './answer.js';
import type { EventStreams, StreamEvent } from './event-streams.js';
import { lastEventId, migrationId } from './request-fields.js';
import type { AgentService } from './service.js';

/** Migrations that start here: preflight, start, look, follow, limit, cancel; and tests of the link. */
export function migrationRoutes(app: FastifyInstance, service: AgentService, streams: EventStreams): void {
  app.get('/migrations', (_request, reply) => answer<MigrationInfo[]>(reply, service.migrations()));

  app.post('/migrations', async (request, reply): Promise<MigrationInfo> => {
    const wanted = migrationRequest(request.body);
    reply.status(202);
    return await service.startMigration(wanted);
  });

  app.post('/preflight', async (request): Promise<PreflightReport> => {
    return await service.preflight(migrationRequest(request.body));
  });

  app.post('/link-tests', async (request, reply): Promise<LinkTestResult> => {
    const wanted = validate(LinkTestSchema, request.body, 'invalid-request', 'the link test');
    // Nobody is left to be told: the nodes are not to be kept for it.
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort(new MigrationError('cancelled', 'the client has gone')));
    return await service.testLink(wanted, gone.signal);
  });

  app.get('/migrations/:id', async (request): Promise<MigrationInfo> => {
    return await service.migration(migrationId(request));
  });

  app.get('/history', (_request, reply) => answer<HistoryEntry[]>(reply, service.history()));

  app.patch('/migrations/:id', (request, reply) => {
    const what = 'the change of the migration';
    const change = validate(ChangeMigrationSchema, request.body, 'invalid-request', what);
    const { bandwidthBytesPerSecond } = change;
    return answer<MigrationInfo>(
      reply,
      service.limitMigration(migrationId(request), bandwidthBytesPerSecond),
    );
  });

  app.post('/migrations/:id/cancel', async (request): Promise<MigrationInfo> => {
    return await service.cancelMigration(migrationId(request));
  });

  app.get('/migrations/:id/events', async (request, reply): Promise<void> => {
    const id = migrationId(request);
    const after = lastEventId(request) ?? -1;
    // an unknown migration is a plain 404, not an event of a stream that was opened for it
    await service.migration(id);
    await streams.serve(reply, (signal) => migrationEvents(service.migrationEvents(id, after, signal)));
  });
}

/** Checks the body of a request for a migration. Throws invalid-request. */
function migrationRequest(body: unknown): MigrationRequest {
  return validate(StartMigrationSchema, body, 'invalid-request', 'the migration request');
}

async function* migrationEvents(events: AsyncGenerator<MigrationEvent>): AsyncGenerator<StreamEvent, void> {
  for await (const event of events) yield { event: event.event, id: event.seq, data: event };
}
