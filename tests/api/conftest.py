from tests.support import gateway as support

stages = support.stages
template = support.template
world = support.world
gateway = support.gateway
