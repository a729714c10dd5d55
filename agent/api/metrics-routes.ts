import type { FastifyInstance } from 'fastify';
import { prometheusContentType } from 'prom-client';
import { answer } from './answer.js';
import type { AgentService } from './service.js';

/** What Prometheus scrapes; who may is as for any other route that only looks. */
export function metricsRoutes(app: FastifyInstance, service: AgentService): void {
  app.get('/metrics', async (_request, reply) => {
    const text = await service.metrics();
    return answer<string>(reply.type(prometheusContentType), text);
  });
}
