import type { FastifyInstance } from 'fastify';
import { answer } from './answer.js';
import { openApiDocument } from './openapi/document.js';

/** The description of all routes. */
export function openApiRoutes(app: FastifyInstance): void {
  let text: string | undefined;
  app.get('/openapi.json', (_request, reply) => {
    // Few ask for it: it is made once somebody does.
    text ??= JSON.stringify(openApiDocument());
    return answer<string>(reply.type('application/json; charset=utf-8'), text);
  });
}
