// SPDX-License-Identifier: Apache-2.0

package files

// epollEventSize is the size of struct epoll_event, which is packed on x86-64
// alone (EPOLL_PACKED in linux/eventpoll.h).
const epollEventSize = 12
