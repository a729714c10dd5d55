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
import { CountByParty, remoteParty } from '../admission/remote-address.js';
import type { EventStreams, StreamEvent } from './event-streams.js';
import type { ApiLimits } from './limits.js';
import { lastEventId, migrationId } from './request-fields.js';
import type { AgentService } from './service.js';

/** Migrations that start here: preflight, start, look, follow, limit, cancel; and tests of the link. */
export function migrationRoutes(
  app: FastifyInstance,
  service: AgentService,
  streams: EventStreams,
  limits: ApiLimits,
): void {
  app.get('/migrations', (_request, reply) => answer<MigrationInfo[]>(reply, service.migrations()));

  app.post('/migrations', async (request, reply): Promise<MigrationInfo> => {
    const wanted = migrationRequest(request.body);
    reply.status(202);
    return await service.startMigration(wanted);
  });

  const admit = preflightLimit(limits);
  app.post('/preflight', async (request): Promise<PreflightReport> => {
    const wanted = migrationRequest(request.body);
    const leave = admit(remoteParty(request.raw.socket.remoteAddress));
    try {
      return await service.preflight(wanted);
    } finally {
      leave();
    }
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

/** Lets so many preflights in at once; what it returns is called at the end of one. Throws limit-exceeded. */
function preflightLimit({ preflights, preflightsPerAddress }: ApiLimits) {
  let underWay = 0;
  const parties = new CountByParty();
  return (party: string | null): (() => void) => {
    const tooMany = [
      ...(parties.of(party) >= preflightsPerAddress
        ? [`${preflightsPerAddress} preflights for ${party} are under way`]
        : []),
      ...(underWay >= preflights ? [`${preflights} preflights of this agent are under way`] : []),
    ];
    if (tooMany[0] !== undefined) {
      throw new MigrationError('limit-exceeded', `${tooMany[0]}, the most at once: try again later`);
    }
    underWay += 1;
    const uncount = parties.add(party);
    return () => {
      underWay -= 1;
      uncount();
    };
  };
}

/** Checks the body of a request for a migration. Throws invalid-request. */
function migrationRequest(body: unknown): MigrationRequest {
  return validate(StartMigrationSchema, body, 'invalid-request', 'the migration request');
}

async function* migrationEvents(events: AsyncGenerator<MigrationEvent>): AsyncGenerator<StreamEvent, void> {
  for await (const event of events) yield { event: event.event, id: event.seq, data: event };
}
