import { z } from 'zod';
import { AgentConfigSchema } from './config.js';

/** One field of the configuration, in words; names of things are in backticks. */
export interface ConfigField {
  /** With what it is in: `qemu.allow.files`. */
  readonly field: string;
  readonly description: string;
  readonly allowed: string;
  /** What is taken where it is not given. */
  readonly fallback: string;
}

/** What zod tells of a schema, and what meta() has added in shared/config.ts. */
interface FieldSchema {
  readonly description?: string;
  readonly default?: unknown;
  readonly fallback?: unknown;
  readonly allowed?: string;
  readonly unit?: 'bytes' | 'bytes/s' | 'ms';
  readonly minimum?: number;
  readonly maximum?: number;
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly properties?: Record<string, FieldSchema>;
  readonly required?: readonly string[];
}

/** How quantities are written, and a unit for a number of them, from the largest that fits. */
const QUANTITIES = {
  bytes: { what: 'a size like `512MiB`, or bytes', units: [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['', 1]] },
  'bytes/s': { what: 'a rate like `1gbit` or `100MB`, or bytes a second', units: [['MB', 1e6], ['', 1]] },
  ms: { what: 'a time like `30s`, or milliseconds', units: [['h', 36e5], ['min', 6e4], ['s', 1e3], ['ms', 1]] },
} as const; // prettier-ignore

/** The fields of the configuration in their order, each group before what is in it. */
export function configReference(): ConfigField[] {
  return fieldsOf(
    z.toJSONSchema(AgentConfigSchema, { io: 'input', unrepresentable: 'any' }) as FieldSchema,
    [],
  );
}

function fieldsOf({ properties = {}, required = [] }: FieldSchema, parent: readonly string[]): ConfigField[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const path = [...parent, name];
    const fallback = required.includes(name) ? 'none, it must be given' : fallbackOf(schema);
    const field = {
      field: path.join('.'),
      description: schema.description ?? '',
      allowed: allowedIn(schema),
      fallback,
    };
    return [field, ...fieldsOf(schema, path)];
  });
}

function fallbackOf({
  default: given,
  fallback: value = given,
  unit,
  properties,
  required,
}: FieldSchema): string {
  if (properties) return required ? 'none' : 'as below';
  if (value === undefined) return 'none';
  if (typeof value === 'number' && unit) return `\`${inUnit(value, unit)}\``;
  if (typeof value === 'object' && value !== null) {
    const parts = Array.isArray(value) ? value : Object.keys(value);
    return parts.length === 0 ? 'none' : parts.map((part) => `\`${String(part)}\``).join(', ');
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.includes('`') ? text : `\`${text}\``;
}

function allowedIn({ allowed, unit, minimum, maximum, enum: names, type, properties }: FieldSchema): string {
  if (properties) return 'the fields below';
  if (allowed !== undefined) return allowed;
  if (names) return names.map((name) => `\`${name}\``).join(', ');
  if (type === 'boolean') return '`true`, `false`';
  const limits = [
    ...(minimum === undefined || (minimum === 0 && unit) ? [] : [`at least \`${inUnit(minimum, unit)}\``]),
    ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
      ? []
      : [`at most \`${inUnit(maximum, unit)}\``]),
  ];
  return [unit ? QUANTITIES[unit].what : 'a whole number', ...limits].join(', ');
}

/** A quantity as it is written in a configuration or on the command line: '10min'. */
export function inUnit(value: number, unit: FieldSchema['unit']): string {
  if (!unit || value === 0) return String(value);
  const [name, factor] = QUANTITIES[unit].units.find(([, size]) => value >= size && value % size === 0)!;
  return `${value / factor}${name}`;
}
