export {
  choice,
  ConfigurationError,
  decimal,
  flag,
  integer,
  optionalText,
  port,
  readSettings,
  required,
  secret,
  text,
  type Setting,
  type SettingsOf,
} from './settings.js';
export { parseYaml, readYamlFile, withLines } from './yaml-file.js';
