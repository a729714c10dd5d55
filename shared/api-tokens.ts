import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { parse } from 'yaml';
import { z } from 'zod';
import { MigrationError } from './errors.js';
import { NameSchema } from './names.js';
import { readNamed } from './tls/credentials.js';
import { validate } from './validate.js';

/** What the holder of a token may do: look, or look and act. */
export const RoleSchema = z.enum(['read', 'operate']);
export type Role = z.output<typeof RoleSchema>;

/** A token as the agent knows it: its hash. 256 random bits need no salt and no slow hash. */
const TokenSchema = z.strictObject({
  name: NameSchema,
  role: RoleSchema,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits'),
});
export type TokenEntry = z.output<typeof TokenSchema>;

/** Tokens of one file; bounds what each request is compared with. */
const MAX_TOKENS = 1000;

const TokensSchema = z
  .array(TokenSchema)
  .min(1)
  .max(MAX_TOKENS)
  .refine((entries) => new Set(entries.map(({ name }) => name)).size === entries.length, {
    error: 'two tokens have the same name',
  });

/** Random bits of a token. bytes */
const TOKEN_BYTES = 32;

/** So that a token is known for one where it turns up. */
const PREFIX = 'vmferry_';

/** A new token, and what the agents' file is to say of it. */
export function createToken(name: string, role: Role): { token: string; entry: TokenEntry } {
  const token = PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
  return { token, entry: { name, role, sha256: hashOf(token).toString('hex') } };
}

/** The line of the file. */
export function tokenLine({ name, role, sha256 }: TokenEntry): string {
  return `- { name: ${JSON.stringify(name)}, role: ${role}, sha256: "${sha256}" }`;
}

/** The tokens of an agent. */
export class ApiTokens {
  readonly #entries: readonly { name: string; role: Role; hash: Buffer }[];

  constructor(entries: readonly TokenEntry[]) {
    this.#entries = entries.map(({ name, role, sha256 }) => ({
      ...{ name, role, hash: Buffer.from(sha256, 'hex') },
    }));
  }

  /** Reads the file that the configuration names. Throws invalid-request. */
  static read(path: string): ApiTokens {
    const what = `the file of tokens ${path} ('tokens')`;
    // Hashes are no secret, but who may add one lets himself in.
    const field = ['tokens'];
    const text = readNamed({ what, path, field }, 0o022, 'others than its owner can write to it');
    let value: unknown;
    try {
      value = parse(text);
    } catch {
      // The parser's message shows the line, and somebody may have put a token there.
      throw new MigrationError(
        'invalid-request',
        `${what} is no YAML: write what 'vmferry token create' prints`,
        { field },
      );
    }
    return new ApiTokens(validate(TokensSchema, value, 'invalid-request', what, field));
  }

  /** Whose a token is; null if nobody's. In a time that tells nothing of the tokens that there are. */
  find(token: string): { readonly name: string; readonly role: Role } | null {
    const shown = hashOf(token);
    let found: { name: string; role: Role } | null = null;
    for (const entry of this.#entries) if (timingSafeEqual(entry.hash, shown)) found = entry;
    return found && { name: found.name, role: found.role };
  }
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
