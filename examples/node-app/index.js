'use strict';

const { greet } = require('greeting');

module.exports = function announce(birds) {
  return greet('harrier', birds);
};

if (require.main === module) {
  console.log(module.exports(Number(process.argv[2] || 1)));
}
