import type { FastifyInstance, onRequestHookHandler } from 'fastify';
import {
  AdoptGuestSchema,
  ConsoleInputSchema,
  ConsoleQuerySchema,
  DefineGuestSchema,
  type ConsoleChunk,
  type ConsoleEnd,
  type GuestInfo,
  type OutcomeReport,
  type Resolution,
  ResolveSchema,
} from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { validate } from '../../shared/validate.js';
import { answer } from './answer.js';
import type { EventStreams, StreamEvent } from './event-streams.js';
import type { ApiLimits } from './limits.js';
import { guestName, lastEventId } from './request-fields.js';
import type { AgentService } from './service.js';

/** Guests: definition, life, console. */
export function guestRoutes(
  app: FastifyInstance,
  service: AgentService,
  streams: EventStreams,
  limits: ApiLimits,
): void {
  app.get('/guests', (_request, reply) => answer<GuestInfo[]>(reply, service.guests()));

  const onRequest = largeBodies(limits);
  app.post(
    '/guests',
    { bodyLimit: limits.guestBodyBytes, onRequest },
    async (request, reply): Promise<GuestInfo> => {
      const { definition, image } = validate(
        DefineGuestSchema,
        request.body,
        'invalid-definition',
        'the VM definition',
      );
      const bytes = image === undefined ? undefined : Buffer.from(image, 'base64');
      reply.status(201);
      return await service.defineGuest(definition, bytes);
    },
  );

  app.get('/guests/:name', (request, reply) => answer<GuestInfo>(reply, service.guest(guestName(request))));

  app.delete('/guests/:name', async (request, reply) => {
    await service.undefineGuest(guestName(request));
    return await reply.status(204).send();
  });

  app.post('/guests/:name/start', async (request) => await service.startGuest(guestName(request)));
  app.post('/guests/:name/stop', async (request) => await service.stopGuest(guestName(request)));
  app.post('/guests/:name/pause', async (request) => await service.pauseGuest(guestName(request)));
  app.post('/guests/:name/resume', async (request) => await service.resumeGuest(guestName(request)));
  app.post('/guests/:name/adopt', async (request, reply): Promise<GuestInfo> => {
    const name = guestName(request);
    const { qmp } = validate(AdoptGuestSchema, request.body, 'invalid-request', 'the request to adopt a VM');
    const guest = await service.adoptGuest(name, qmp);
    reply.status(201);
    return guest;
  });

  app.get('/guests/:name/outcome', async (request): Promise<OutcomeReport> => {
    return await service.guestOutcome(guestName(request));
  });
  app.post('/guests/:name/resolve', async (request): Promise<Resolution> => {
    const name = guestName(request);
    const wanted = validate(ResolveSchema, request.body, 'invalid-request', 'the request to resolve a VM');
    return await service.resolveGuest(name, wanted);
  });

  app.get('/guests/:name/console', async (request, reply): Promise<ConsoleChunk | undefined> => {
    const name = guestName(request);
    const query = validate(ConsoleQuerySchema, request.query, 'invalid-request', 'the query');
    const position = lastEventId(request) ?? query.position;
    // an unknown guest is a plain 404, not an event of a stream that was opened for it
    service.guest(name);
    if (query.follow === 'false') return await consoleNow(service, name, position, limits);
    await streams.serve(reply, (signal) => consoleEvents(service.console(name, position, true, signal)));
    return undefined;
  });

  app.post('/guests/:name/console', async (request, reply) => {
    const name = guestName(request);
    const { data } = validate(ConsoleInputSchema, request.body, 'invalid-request', 'the console input');
    await service.consoleInput(name, Buffer.from(data, 'base64'));
    return await reply.status(204).send();
  });
}

/** Lets so many requests with a large body in at once, from their first byte to the end of their answer. */
function largeBodies({ largeBodies: most, bodyBytes }: ApiLimits): onRequestHookHandler {
  let underWay = 0;
  return (request, reply, done) => {
    const length = request.headers['content-length'];
    if (length !== undefined && Number(length) <= bodyBytes) {
      done();
      return;
    }
    if (underWay >= most) {
      const text = `${most} definitions with a program image are on their way to this agent, the most it takes at once`;
      throw new MigrationError('limit-exceeded', `${text}: try again later`);
    }
    underWay += 1;
    reply.raw.once('close', () => (underWay -= 1));
    done();
  };
}

/** What the console has kept from `position` on, as one chunk, up to the limit or little more. */
async function consoleNow(
  service: AgentService,
  name: string,
  position: number,
  { consoleBytes }: ApiLimits,
): Promise<ConsoleChunk> {
  const reading = new AbortController();
  let first: number | undefined;
  let end = position;
  const texts: string[] = [];
  for await (const chunk of service.console(name, position, false, reading.signal)) {
    first ??= chunk.position;
    end = chunk.end;
    texts.push(chunk.text);
    if (end - first >= consoleBytes) break;
  }
  return { position: first ?? end, end, text: texts.join('') };
}

/** A console as events: each id is the position after its chunk, so that a client resumes without a gap. */
async function* consoleEvents(
  console: AsyncGenerator<ConsoleChunk, ConsoleEnd | null>,
): AsyncGenerator<StreamEvent, void> {
  try {
    for (;;) {
      const next = await console.next();
      if (next.done === true) {
        if (next.value !== null) yield { event: 'end', data: next.value };
        return;
      }
      yield { event: 'chunk', id: next.value.end, data: next.value };
    }
  } finally {
    // 'for await' would do this, but drops what the generator returns
    await console.return(null);
  }
}
