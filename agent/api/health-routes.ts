import type { FastifyInstance } from 'fastify';
import type { HealthReport, ReadinessReport } from '../../shared/api.js';
import { answer } from './answer.js';
import type { AgentService } from './service.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Served to callers who prove nothing. */
    withoutCredentials?: boolean;
  }
}

const OPEN = { config: { withoutCredentials: true } };

/**
 * For load balancers, supervisors and cluster managers, whose probes have neither certificate nor token: the answers are
 * words of a short list and tell nothing about the host, its guests or the cluster.
 */
export function healthRoutes(app: FastifyInstance, service: AgentService): void {
  app.get('/healthz', OPEN, (_request, reply) => answer<HealthReport>(reply, { status: 'ok' }));
  app.get('/readyz', OPEN, async (_request, reply) => {
    const report = await service.readiness();
    return answer<ReadinessReport>(reply.code(report.ready ? 200 : 503), report);
  });
}
