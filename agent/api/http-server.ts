import type { IncomingMessage } from 'node:http';
import type { ServerOptions } from 'node:https';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { AccessReport } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { Connections } from '../admission/connections.js';
import { ANYBODY } from './api-access.js';
import { dashboardRoutes } from './dashboard-routes.js';
import { answerError, rawErrorResponse } from './error-answer.js';
import { EventStreams } from './event-streams.js';
import { guestRoutes } from './guest-routes.js';
import { healthRoutes } from './health-routes.js';
import { parseJsonBodies } from './json-body.js';
import { API_LIMITS, type ApiLimits } from './limits.js';
import { metricsRoutes } from './metrics-routes.js';
import { migrationRoutes } from './migration-routes.js';
import { nodeRoutes } from './node-routes.js';
import { openApiRoutes } from './openapi-routes.js';
import type { AgentService } from './service.js';
import { checkOrigin } from './web-origin.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks. */
    caller: AccessReport;
  }
}

export interface HttpServerOptions {
  readonly service: AgentService;
  /** The agent's pino logger. */
  readonly logger: FastifyBaseLogger;
  readonly limits?: Partial<ApiLimits>;
  /** Who is connected, where somebody else needs to know it too. */
  readonly connections?: Connections;
  /** Serves over TLS. */
  readonly tls?: ServerOptions | null;
  /** Who asks; throws why a request is not served. */
  readonly checkAccess?: (request: IncomingMessage) => AccessReport;
}

/** How long a client that sent no valid request is told so before its connection ends. ms */
const LAST_WORDS_MS = 1000;

/**
 * The HTTP API, version 1, over `service`; not listening yet. Requests and answers: shared/api.ts. The peer link takes
 * 'upgrade' on its `.server`. `close()` ends event streams and idle connections, and waits for requests under way.
 */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const { service, logger, tls = null, checkAccess = () => ANYBODY } = options;
  const bounds: ApiLimits = { ...API_LIMITS, ...options.limits };
  const connections = options.connections ?? new Connections(bounds);
  const app = Fastify({
    // Fastify has another type for each kind of server; what differs of them is not used here.
    ...(tls && ({ https: tls } as object)),
    loggerInstance: logger,
    bodyLimit: bounds.bodyBytes,
    requestTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: bounds.keepAliveMs,
    http: {
      headersTimeout: bounds.headersTimeoutMs,
      connectionsCheckingInterval: bounds.timeoutCheckMs,
      maxHeaderSize: bounds.headerBytes,
    },
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    // Fastify's own refusal while it closes has none of the codes that clients go by.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply),
    clientErrorHandler: (error, socket) => {
      if (!socket.writable) {
        socket.destroy();
        return;
      }
      socket.end(rawErrorResponse((error as NodeJS.ErrnoException).code, bounds));
      // Half a connection would be left otherwise, for as long as the client likes.
      const timer = setTimeout(() => socket.destroy(), LAST_WORDS_MS);
      socket.once('close', () => clearTimeout(timer));
    },
  });
  // text/plain is what a web page of any origin may post without asking: only JSON is understood
  app.removeContentTypeParser('text/plain');
  parseJsonBodies(app);
  app.setErrorHandler(answerError);
  app.setNotFoundHandler((request) => {
    throw new MigrationError(
      'not-found',
      `this agent serves no ${request.method} ${request.url}: see /v1/openapi.json`,
    );
  });
  app.decorateRequest('caller');
  let closing = false;
  // A connection too many is told so.
  app.addHook('onRequest', (request, reply, done) => {
    if (closing) {
      throw new MigrationError('shutting-down', 'this agent is shutting down: try again when it is back');
    }
    const refusal = connections.refusalOf(request.raw.socket);
    if (refusal) {
      reply.header('connection', 'close');
      throw refusal;
    }
    checkOrigin(request.raw);
    if (request.routeOptions.config.withoutCredentials !== true) request.caller = checkAccess(request.raw);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    request.log.debug(
      {
        method: request.method,
        url: request.url,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
      },
      'request answered',
    );
    done();
  });

  // A connection that is in use when the server closes is not closed with those that are not: kept alive behind its answer, it
  // would hold up the end of the agent for more than a minute.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close');
    done();
  });

  const streams = new EventStreams(bounds);
  connections.watch(app.server);
  app.addHook('preClose', (done) => {
    closing = true;
    streams.close();
    connections.closeSilent();
    done();
  });
  void app.register((root, _options, done) => {
    dashboardRoutes(root);
    metricsRoutes(root, service);
    healthRoutes(root, service);
    done();
  });
  void app.register(
    (v1, _options, done) => {
      nodeRoutes(v1, service);
      guestRoutes(v1, service, streams, bounds);
      migrationRoutes(v1, service, streams, bounds);
      openApiRoutes(v1);
      done();
    },
    { prefix: '/v1' },
  );
  return app;
}
