import { NameSchema } from '../names.js';

/**
 * Whose a certificate is. A node's carries `URI:vmferry:node:ID` among its subject alternative names, exactly once. A URI, since
 * ids may have capitals and underscores, which a DNS name can't or does not tell apart, and since a name of its own scheme is
 * never mistaken for a host's.
 */

const NODE_SCHEME = 'URI:vmferry:node:';

/** The node's id in the names of a certificate, as Node.js writes them; null where there is none, or not one alone. */
export function nodeOfNames(subjectAltName: string | undefined): string | null {
  // A name with a comma or other special characters is written in quotes: one could be made to look like two.
  if (subjectAltName === undefined || subjectAltName.includes('"')) return null;
  const ids = subjectAltName
    .split(', ')
    .filter((name) => name.startsWith(NODE_SCHEME))
    .map((name) => name.slice(NODE_SCHEME.length));
  const [id] = ids;
  return ids.length === 1 && NameSchema.safeParse(id).success ? id! : null;
}

/** For messages: what a certificate is called. */
export function certificateTitle(
  subject: { readonly CN?: string | string[] | undefined } | undefined,
): string {
  const name = subject?.CN;
  return `'${(Array.isArray(name) ? name.join(', ') : (name ?? 'without a name')).slice(0, 100)}'`;
}
