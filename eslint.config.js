import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Imports go one way: scripts -> agent -> shared; the two ends of a migration know only what they share. */
const layer = (files, group, message) => ({
  files: [files],
  rules: { 'no-restricted-imports': ['error', { patterns: [{ group, message }] }] },
});

export default tseslint.config(
  { ignores: ['dist/', '.tap/', 'coverage/', 'node_modules/'] },
  js.configs.recommended,
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      eqeqeq: 'error',
    },
  },
  layer('shared/**', ['**/agent/**', '**/scripts/**'], 'shared/ imports neither agent/ nor scripts/'),
  layer(
    'dashboard/**',
    ['**/agent/**', '**/client/**', '**/scripts/**'],
    'dashboard/ runs in browsers and imports shared/ alone',
  ),
  layer('client/**', ['**/agent/**', '**/scripts/**'], 'client/ imports shared/ alone'),
  layer('agent/**', ['**/scripts/**'], 'agent/ does not import scripts/'),
  layer('agent/source/**', ['**/scripts/**', '**/target/**'], 'source/ and target/ never import each other'),
  layer('agent/target/**', ['**/scripts/**', '**/source/**'], 'source/ and target/ never import each other'),
  {
    files: ['agent/**', 'client/**', 'shared/**', 'scripts/**', 'test/**'],
    ignores: ['agent/system/**'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "ImportDeclaration[source.value='koffi']",
          message: 'agent/system/ alone makes system calls',
        },
      ],
    },
  },
  { files: ['**/*.js'], ...tseslint.configs.disableTypeChecked },
);
