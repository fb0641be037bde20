from tests.support import gateway as support

simulators = support.simulators
template = support.template
world = support.world
gateway = support.gateway
