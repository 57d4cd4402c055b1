# Kept apart from 172.30.0.0/24, the network of the containers.
locals {
  vpc_cidr = "10.20.0.0/24"
}

resource "aws_vpc" "shop" {
  #checkov:skip=CKV2_AWS_11:One host with three open ports; the edge logs every request, flow logs would add cost and little else.
  cidr_block           = local.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = "dhakacart" }
}

# Nothing uses it; without this it would allow all traffic among its members.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.shop.id

  tags = { Name = "dhakacart-default-closed" }
}

resource "aws_subnet" "public" {
  vpc_id                  = aws_vpc.shop.id
  cidr_block              = cidrsubnet(local.vpc_cidr, 2, 0)
  availability_zone       = "ap-southeast-1a"
  map_public_ip_on_launch = false # the host has an elastic address

  tags = { Name = "dhakacart-public" }
}

resource "aws_internet_gateway" "shop" {
  vpc_id = aws_vpc.shop.id

  tags = { Name = "dhakacart" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.shop.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.shop.id
  }

  tags = { Name = "dhakacart-public" }
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

resource "aws_security_group" "host" {
  name        = "dhakacart-host"
  description = "The edge is open to everyone, SSH to the operator"
  vpc_id      = aws_vpc.shop.id

  tags = { Name = "dhakacart-host" }
}

resource "aws_vpc_security_group_ingress_rule" "web" {
  #checkov:skip=CKV_AWS_260:Port 80 is open on purpose, it answers with a redirect to https.
  for_each = { http = 80, https = 443 }

  security_group_id = aws_security_group.host.id
  description       = "${each.key} from everyone"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  security_group_id = aws_security_group.host.id
  description       = "SSH from the operator"
  cidr_ipv4         = var.ssh_cidr
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

# Packages, git, crates and ACME. Name and time service of the VPC are not subject to security groups.
resource "aws_vpc_security_group_egress_rule" "web" {
  for_each = { http = 80, https = 443 }

  security_group_id = aws_security_group.host.id
  description       = "${each.key} to everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}
