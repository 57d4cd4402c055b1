output "public_ip" {
  description = "Elastic address of the host; point the shop's DNS record here."
  value       = aws_eip.host.public_ip
}

output "shop_url" {
  description = "The shop, with a development certificate until another one is installed."
  value       = "https://${aws_eip.host.public_ip}/"
}

output "ssh_command" {
  description = "How the operator logs in."
  value       = "ssh ubuntu@${aws_eip.host.public_ip}"
}

output "instance_id" {
  description = "The host, for snapshots and the serial console."
  value       = aws_instance.host.id
}

output "ami_id" {
  description = "Image of Ubuntu 24.04 the host was made from."
  value       = aws_instance.host.ami
}
