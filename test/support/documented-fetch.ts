import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { createParser } from 'eventsource-parser';
import { openApiDocument } from '../../agent/api/openapi/document.js';
import type { ErrorAnswer } from '../../shared/api.js';

/** Of the document what is looked at here, as JSON. */
interface Operation {
  operationId: string;
  requestBody?: object;
  responses: Record<string, { $ref?: string; description?: string; content?: Record<string, object> }>;
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
}

/** Codes that every request can meet: of the HTTP layer, of an agent that ends or is full, of a defect. */
const ANYWHERE: readonly string[] = ['invalid-request', 'limit-exceeded', 'shutting-down', 'internal'];

/** A fetch() that holds all that is asked of agents and all that they answer against the OpenAPI document. */
export class DocumentedFetch {
  /** What was not as the document says. */
  readonly violations: string[] = [];
  /** Answers that came: 'operationId status media-type', without the type where there is no body. */
  readonly seen = new Set<string>();
  readonly #document = strictDocument();
  readonly #ajv = new Ajv2020({ strict: false, logger: false });

  constructor() {
    formats.default(this.#ajv);
    this.#ajv.addSchema(this.#document, 'document');
  }

  /** Each answer of the document that says that all went well, as in `seen`. */
  get documented(): string[] {
    return this.#operations().flatMap(({ operation: { operationId, responses } }) =>
      Object.entries(responses)
        .filter(([status]) => status.startsWith('2'))
        .flatMap(([status, { content = {} }]) => {
          const types = Object.keys(content);
          return types.length === 0
            ? [`${operationId} ${status}`]
            : types.map((type) => `${operationId} ${status} ${type}`);
        }),
    );
  }

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const method = (init.method ?? 'GET').toLowerCase();
    const { pathname } = new URL(input);
    const response = await fetchOfNode(input, init);
    const found = this.#operations().find((each) => each.method === method && each.pattern.test(pathname));
    if (!found) {
      this.violations.push(`${method} ${pathname}: is not documented`);
      return response;
    }
    const { operation, pointer } = found;
    if (response.ok && typeof init.body === 'string') {
      const schema = `${pointer}/requestBody/content/application~1json/schema`;
      this.#hold(schema, JSON.parse(init.body), `${operation.operationId}: the request`);
    }
    return await this.#answer(operation, pointer, response);
  };

  async #answer(operation: Operation, pointer: string, response: Response): Promise<Response> {
    const { operationId, responses } = operation;
    const status = String(response.status);
    const type = response.headers.get('content-type')?.split(';')[0];
    const what = [operationId, status, ...(type === undefined ? [] : [type])].join(' ');
    this.seen.add(what);
    const described = responses[status];
    if (!described && response.ok) this.violations.push(`${what}: is not documented`);
    if (type === undefined) return response;
    const answer = described
      ? `${pointer}/responses/${status}/content/${escaped(type)}`
      : `/components/responses/Failure/content/${escaped(type)}`;
    if (type === 'text/event-stream') return this.#stream(answer, what, response);
    if (type !== 'application/json') {
      if (described?.content?.[type] === undefined) this.violations.push(`${what}: is of another type`);
      return response;
    }
    const body: unknown = await response.clone().json();
    this.#hold(`${answer}/schema`, body, what);
    if (!response.ok && 'error' in (body as object)) {
      const { code } = (body as ErrorAnswer).error;
      const named = described?.description?.includes(`\`${code}\``) === true;
      if (!named && !ANYWHERE.includes(code))
        this.violations.push(`${what}: ${code} is not documented there`);
    }
    return response;
  }

  /** The same response, whose events are looked at as they are read. */
  #stream(answer: string, what: string, response: Response): Response {
    const parser = createParser({
      onEvent: ({ event = '', data }) =>
        this.#hold(`${answer}/x-event-data/${event}`, JSON.parse(data), `${what}: event ${event}`),
    });
    const decoder = new TextDecoder();
    const look = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        parser.feed(decoder.decode(bytes, { stream: true }));
        controller.enqueue(bytes);
      },
    });
    const { status, headers } = response;
    return new Response(response.body!.pipeThrough(look), { status, headers });
  }

  #hold(schema: string, value: unknown, what: string): void {
    try {
      if (this.#ajv.validate({ $ref: `document#${schema}` }, value) === true) return;
      this.violations.push(`${what}: ${this.#ajv.errorsText()} in ${JSON.stringify(value)}`);
    } catch (error) {
      this.violations.push(`${what}: ${(error as Error).message}`);
    }
  }

  #operations() {
    return Object.entries(this.#document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({
        method,
        operation,
        pattern: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}$`),
        pointer: `/paths/${escaped(path)}/${method}`,
      })),
    );
  }
}

const fetchOfNode = globalThis.fetch;

/** As in a JSON pointer that is part of a URL. */
function escaped(text: string): string {
  return encodeURIComponent(text.replace(/~/g, '~0').replace(/\//g, '~1'));
}

/** The document with each object closed: what it does not name must not be in answers. It leaves that open to clients for later agents. */
function strictDocument(): Document {
  return JSON.parse(JSON.stringify(openApiDocument()), (_key, value: unknown) =>
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    value.type === 'object' &&
    'properties' in value
      ? { additionalProperties: false, ...value }
      : value,
  ) as Document;
}
