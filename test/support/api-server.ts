import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { createHttpServer } from '../../agent/api/http-server.js';
import type { ApiLimits } from '../../agent/api/limits.js';
import type { AgentService } from '../../agent/api/service.js';

/** The API over `service`, with no listener and no log: for inject(). */
export function quietServer(service: AgentService, limits: Partial<ApiLimits> = {}) {
  return createHttpServer({ service, logger: pino({ level: 'silent' }), limits });
}

/** The same, listening on a free port of the loopback. */
export async function listeningServer(service: AgentService, limits: Partial<ApiLimits> = {}) {
  const app = quietServer(service, limits);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return { app, port, url: `http://127.0.0.1:${port}` };
}
