import type { PreflightFinding } from '../../shared/protocol/messages.js';

/** Findings for people: each with its remedy below it. */
export function findingLines(findings: readonly PreflightFinding[]): string[] {
  return findings.map(({ level, code, message, remedy }) => {
    const what = `${level}: ${message} (${code})`;
    return remedy === undefined ? what : `${what}\n  ${remedy}`;
  });
}
